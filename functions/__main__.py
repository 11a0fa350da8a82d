"""Print the catalogue: one line per function."""

from cardwright.kernel.rows import Http, Queue, Schedule, Url
from functions.catalogue import CATALOGUE


def main() -> None:
    """Print name, how it is reached and what it needs."""
    for row in CATALOGUE:
        match row:
            case Http():
                door = f"{row.method} {row.full_path}"
            case Url():
                door = f"POST {row.full_path} (function URL)"
            case Queue():
                door = f"queue {row.queue}"
            case Schedule():
                door = f"every {row.every_s} s"
            case _:
                door = "task"
        print(f"{row.name:32} {door:60} {' '.join(sorted(row.needs))}")


if __name__ == "__main__":
    main()
