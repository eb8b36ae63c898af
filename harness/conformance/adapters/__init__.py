"""Other people's scorers behind the protocol, a program each: `python -m` one of these modules.
They call the tool as its documentation does and mend nothing that it gets wrong."""
