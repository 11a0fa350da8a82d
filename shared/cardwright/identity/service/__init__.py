"""Use cases of identity; `IdentityService` is what the others call."""

from cardwright.identity.service.contacts import Contacts, ContactSeals
from cardwright.identity.service.identity import IdentityService
from cardwright.identity.service.logins import SecondFactorOwed
from cardwright.identity.service.people import Profile
from cardwright.identity.service.second_factors import Enrolment
from cardwright.identity.service.sessions import AccessToken, Tokens

__all__ = ["AccessToken", "ContactSeals", "Contacts", "Enrolment", "IdentityService", "Profile", "SecondFactorOwed", "Tokens"]
