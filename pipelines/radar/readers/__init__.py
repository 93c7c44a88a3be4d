"""A module for each format of radar files; `read` tells which one a file is of."""
