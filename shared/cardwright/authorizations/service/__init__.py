"""The use case of authorizations: one decision, and what of it is kept in the cache."""

from cardwright.authorizations.service.authorizations import AuthorizationService
from cardwright.authorizations.service.entries import decision_key

__all__ = ["AuthorizationService", "decision_key"]
