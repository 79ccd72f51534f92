"""Which arguments of the library a spec may give, within which bounds, and why it may not give the others."""

TRAINING_ARGUMENTS = frozenset({
    "max_steps", "lr_scheduler_type", "lr_scheduler_kwargs", "optim", "optim_args", "optim_target_modules",
    "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "learning_rate_mapping",
    "router_mapping", "multi_dataset_batch_sampler", "max_length", "tf32", "activation_checkpointing",
    "activation_checkpointing_kwargs", "torch_compile", "torch_compile_backend", "torch_compile_mode",
    "torch_empty_cache_steps", "full_determinism", "dataloader_num_workers", "dataloader_prefetch_factor",
    "dataloader_persistent_workers",
})  # fmt: skip
"""Arguments of the trainer that a spec may set: each of them changes something here."""

TRAINING_FIELDS = {
    "num_train_epochs": "training.epochs",
    "per_device_train_batch_size": "training.batchSize",
    "learning_rate": "training.learningRate",
    "warmup_ratio": "training.warmupRatio",
    "warmup_steps": "training.warmupRatio",
    "bf16": "training.autocast",
    "seed": "training.seed",
    "prompts": "model.prompts",
    "per_device_eval_batch_size": "evaluation.evaluators[].batchSize",
    "eval_strategy": "training.selection",
    "eval_steps": "training.selection.every",
    "load_best_model_at_end": "training.selection",
    "metric_for_best_model": "training.selection.metric",
}
"""Arguments of the trainer that repeat a field of the spec."""

_NO_EFFECT = "the library accepts it and does nothing with it here"
_ONE_PROCESS = "a run has one process on one GPU"
_OWN_RECORDS = "the run keeps and reports its progress itself"
_OWN_CHECKPOINTS = "the run keeps its own weights, and publishes one model at the end"
TRAINING_REASONS = {
    "auto_find_batch_size": "another batch size is another set of negatives, and so another result",
    "gradient_accumulation_steps": "the batch is encoded in mini-batches already, its rows are the negatives",
    "fp16": "half precision needs loss scaling, which the cached loss does not have; use training.autocast",
    "dataloader_drop_last": "batches are always full, so that every step has as many negatives",
    "batch_sampler": "the loss says how batches are drawn: without the same content twice, or by class",
    "use_cpu": "the run takes the GPU that runtime.gpusPerNode gives it",
    "output_dir": "the model goes to output.uri, everything else to scratch space",
    "data_seed": "training.seed seeds everything",
    "use_liger_kernel": _NO_EFFECT,
    "remove_unused_columns": _NO_EFFECT,
    "compute_metrics": _NO_EFFECT,
    "train_sampling_strategy": _NO_EFFECT,
    "group_by_length": _NO_EFFECT,
    "length_column_name": _NO_EFFECT,
    "gradient_checkpointing": "its name is activation_checkpointing",
    "gradient_checkpointing_kwargs": "its name is activation_checkpointing_kwargs",
    "enable_jit_checkpoint": "it ends with success although the work is half done",
}
TRAINING_REASONS_BY_PREFIX = {
    "hub_": "models are published to output.uri",
    "push_to_hub": "models are published to output.uri",
    "save_": _OWN_CHECKPOINTS,
    "resume_": _OWN_CHECKPOINTS,
    "logging_": _OWN_RECORDS,
    "log_": _OWN_RECORDS,
    "report_to": _OWN_RECORDS,
    "eval_": "base and tuned model are measured by evaluation.evaluators",
    "fsdp": _ONE_PROCESS,
    "deepspeed": _ONE_PROCESS,
    "ddp_": _ONE_PROCESS,
    "local_rank": _ONE_PROCESS,
    "parallelism_": _ONE_PROCESS,
}

LOSS_FIELDS = {
    "matryoshka_dims": "loss.matryoshkaDims",
    "loss": "loss.inner",
    "guide": "loss.guide",
}
"""Arguments of losses that repeat a field of the spec."""

_OBJECT = "it is an object of Python, which a spec cannot give"
LOSS_REASONS = {
    "model": "it is the model of the spec",
    "similarity_fct": "it follows model.similarity, so that what is trained is what is measured",
    "gather_across_devices": _ONE_PROCESS,
    "show_progress_bar": _OWN_RECORDS,
    "embedding_dimension": "it is the model's",
    "num_labels": "the classes of the data are counted",
    "decoder_name_or_path": "the decoder begins as a copy of the model; another one would be downloaded",
    "tie_encoder_decoder": "the decoder begins as a copy of the model, tied to it",
    "loss_fct": _OBJECT,
    "cos_score_transformation": _OBJECT,
    "lambda_weight": _OBJECT,
    "document_regularizer": _OBJECT,
    "query_regularizer": _OBJECT,
}

_COUNT = (1, None)
_RATE = (0, 1)
_NOT_NEGATIVE = (0, None)
BOUNDS: dict[str, tuple[float | None, float | None]] = {
    **dict.fromkeys(
        ("mini_batch_size", "mini_batch_num_tokens", "score_mini_batch_size", "max_steps", "projection_dim",
         "num_negatives", "k", "max_length", "dataloader_prefetch_factor", "torch_empty_cache_steps"),
        _COUNT,
    ),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), _RATE),
    **dict.fromkeys(
        ("weight_decay", "max_grad_norm", "adam_epsilon", "dataloader_num_workers", "scale", "temperature",
         "student_temperature", "teacher_temperature", "hardness_strength", "triplet_margin", "sigma", "eps",
         "alpha", "beta", "gamma", "pos_weight", "document_regularizer_weight", "query_regularizer_weight",
         "document_regularizer_threshold", "query_regularizer_threshold", "kl_temperature", "kl_div_weight",
         "last_layer_weight", "prior_layers_weight", "mean_weight", "second_moment_weight"),
        _NOT_NEGATIVE,
    ),
    "n_dims_per_step": (-1, None),
    "n_layers_per_step": (-1, None),
}  # fmt: skip
"""Lowest and highest value of numbers, by the argument's name; None: no bound."""

ABOVE_ZERO = frozenset({
    "scale", "temperature", "student_temperature", "teacher_temperature", "sigma", "eps", "adam_epsilon",
})  # fmt: skip
"""Arguments that are divided by, or that would undo the whole loss, so that 0 will not do."""
