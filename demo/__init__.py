"""The demo: two real fine-tunes on a local cluster, from nothing but this repository and package registries.

`python -m demo` runs it. `pages`, `german` and `tiny_models` make its data and models; tests use them too.
"""
