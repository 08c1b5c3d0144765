"""Sub-commands of `robot-dreamer`: each module has add_arguments(parser) and run(args) and puts the rooms together."""
