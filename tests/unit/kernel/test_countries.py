"""Country codes are those of ISO 3166-1, no more and no fewer."""

import pycountry

from cardwright.kernel.countries import COUNTRIES, alpha_2


def test_the_codes_are_the_standards_own() -> None:
    assert {country.alpha_2 for country in pycountry.countries} == COUNTRIES


def test_a_country_named_by_its_other_code_is_the_same_country() -> None:
    assert {country.alpha_3: alpha_2(country.alpha_3) for country in pycountry.countries} == {
        country.alpha_3: country.alpha_2 for country in pycountry.countries
    }
    assert (alpha_2("FR"), alpha_2("XXX")) == ("FR", "XXX")
