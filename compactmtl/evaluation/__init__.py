"""Score artefacts of any kind on a data set, task by task, against one of them."""
