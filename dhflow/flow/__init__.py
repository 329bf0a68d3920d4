"""Running trials: the completion loop, its driver, pools of workers and sites."""
