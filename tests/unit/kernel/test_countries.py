"""Country codes are those of ISO 3166-1, no more and no fewer."""

import pycountry

from cardwright.kernel.countries import COUNTRIES


def test_the_codes_are_the_standards_own() -> None:
    assert {country.alpha_2 for country in pycountry.countries} == COUNTRIES
