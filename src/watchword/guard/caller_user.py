"""Makes a caller the user that Django and REST framework expect, without a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Never

from django.core.exceptions import ObjectDoesNotExist  # type: ignore[import-untyped]

from watchword.guard.caller import Caller
from watchword.guard.own_claims import name_in


class CallerUser:
    """Stands for a caller as `request.user`, without Django's permissions and groups.

    A subclass may add them (`has_perm`); let `CallerAuthentication.user_of` return it. Equal means the same user.
    """

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: tuple[str, ...] = ()
    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False
    email = first_name = last_name = ""
    last_login = date_joined = None

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    @property
    def pk(self) -> str:
        """Return the user's id."""
        return self.caller.user_id

    id = username = pk

    @property
    def groups(self) -> _Nothing:
        """Return no groups."""
        return _Nothing()

    user_permissions = groups

    def get_username(self) -> str:
        """Return the user's id, which stays when a username changes."""
        return self.pk

    natural_key = get_username

    def get_full_name(self) -> str:
        """Return the claim `name`, where the service's WATCHWORD_CLAIMS has one; else the user's id."""
        return name_in(self.caller.claims.extra) or self.pk

    get_short_name = get_full_name

    def has_perm(self, perm: str, obj: Any = None) -> bool:  # noqa: ARG002  Django's signature
        """Return False; a subclass may override it."""
        return False

    def has_perms(self, perm_list: Iterable[str], obj: Any = None) -> bool:
        """Return whether the user has each. :raises ValueError: one text in place of several."""
        if isinstance(perm_list, str) or not isinstance(perm_list, Iterable):
            raise ValueError("perm_list must be an iterable of permissions.")  # noqa: TRY004  Django's error
        return all(self.has_perm(perm, obj) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:  # noqa: ARG002  Django's signature
        """Return False."""
        return False

    def get_all_permissions(self, obj: Any = None) -> set[str]:  # noqa: ARG002  Django's signature
        """Return no permissions."""
        return set()

    get_user_permissions = get_group_permissions = get_all_permissions

    async def ahas_perm(self, perm: str, obj: Any = None) -> bool:
        """Do as `has_perm`."""
        return self.has_perm(perm, obj)

    async def ahas_perms(self, perm_list: Iterable[str], obj: Any = None) -> bool:
        """Do as `has_perms`."""
        return self.has_perms(perm_list, obj)

    async def ahas_module_perms(self, app_label: str) -> bool:
        """Do as `has_module_perms`."""
        return self.has_module_perms(app_label)

    async def aget_all_permissions(self, obj: Any = None) -> set[str]:
        """Do as `get_all_permissions`."""
        return self.get_all_permissions(obj)

    aget_user_permissions = aget_group_permissions = aget_all_permissions

    def check_password(self, raw_password: str) -> bool:  # noqa: ARG002  Django's signature
        """Return False: only the service knows passwords."""
        return False

    def has_usable_password(self) -> bool:
        """Return False."""
        return False

    def set_password(self, *_: Any, **__: Any) -> Never:
        """Refuse. :raises NotImplementedError: always."""
        # As Django's own AnonymousUser does: there is no row to change, save or delete.
        raise NotImplementedError("A caller is a user of the Watchword service and is not kept in Django's database.")

    save = delete = set_password

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CallerUser) and self.pk == other.pk

    def __hash__(self) -> int:
        return hash(self.pk)

    def __str__(self) -> str:
        return self.caller.user_id


class _Nothing:
    """Answers like a Django query that finds nothing."""

    def all(self, *_: Any, **__: Any) -> _Nothing:
        """Return nothing."""
        return self

    filter = exclude = none = order_by = values = values_list = only = distinct = select_related = all

    def exists(self) -> bool:
        """Return False."""
        return False

    def count(self) -> int:
        """Return 0."""
        return 0

    __len__ = count

    def first(self) -> None:
        """Return None."""

    last = first

    def get(self, *_: Any, **__: Any) -> Never:
        """Refuse. :raises ObjectDoesNotExist: always."""
        raise ObjectDoesNotExist("A caller has no groups and no permissions of Django's own.")

    def __iter__(self) -> Iterator[Never]:
        return iter(())
