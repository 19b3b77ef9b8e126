"""The one exception a user sees as a single line instead of a traceback."""


class UserError(ValueError):
    """Something the user can mend: a bad spec, a missing file, an impossible budget.

    The message is one line that names the place (file, YAML path), the rule and the value. The command
    line prints it and exits with code 2.
    """
