"""Provision the stack's users: `python -m local.seed`, in the functions' environment, with CARDWRIGHT_HOME set."""

from local.home import Home
from local.seed.people import new_people, provision


def main() -> None:
    """Write users that are not there yet; passwords and ids go to the stack's `users.json` (mode 0600)."""
    home = Home.locate()
    people = home.read_json("users.json")
    if not people:
        people = new_people()
        # Written first: after a crash the same passwords are tried again, and provisioning is idempotent by address.
        home.write_json("users.json", people)
    provision(people)
    home.write_json("users.json", people)


if __name__ == "__main__":
    main()
