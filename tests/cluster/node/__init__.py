"""The `process` node: a kubelet's stand-in that runs each container of a pod as a local process.

`agent` registers the node and hears of pods; `pod` is one pod's life; `container` one process; `sandbox`
gives it its mounts at their true paths; `volumes` and `environment` fill in what the pod refers to;
`status` reports as a kubelet does; `logs` serves `kubectl logs`; `storage` binds claims to folders.
"""
