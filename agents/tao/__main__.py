"""`python -m tao` is the command `tao`."""

from tao.commands.main import main

if __name__ == "__main__":
    main(prog_name="tao")
