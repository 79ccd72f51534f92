"""Where models and tables come from: a URI becomes files of this machine."""
