"""Routes of my-api, served under /users."""

from fastapi import APIRouter

router = APIRouter(prefix="/api/v1/users/me", tags=["users"])
