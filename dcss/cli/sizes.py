"""Sizes and addresses on the command line."""

import click


class SizeType(click.ParamType[int]):
    """A size or address such as 64M or 0x20000000, in bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes. Fails as click does."""
        from dcss.config.problems import WrongValueError
        from dcss.config.size import parse_size

        try:
            return parse_size(value)
        except WrongValueError as error:
            self.fail(f"found {value!r}, wanted {error.wanted}", param, ctx)
