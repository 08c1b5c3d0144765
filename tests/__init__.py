"""A package, so that helpers are found here and not in a package of that name that some library installs."""
