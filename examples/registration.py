"""A user registers; three services react, each on its own, and none knows of another."""

from tropism import App, Event, Service, State, use


class SignUp(Event, type="accounts.sign-up.v1", key="email"):
    email: str


class UserRegistered(Event, type="accounts.user-registered.v1", key="email"):
    email: str


class WelcomeSent(Event, type="mail.welcome-sent.v1", key="email"):
    email: str


class ProfileCreated(Event, type="profiles.created.v1", key="email"):
    email: str
    name: str


accounts, welcome, profile, analytics = map(Service, ("accounts", "welcome", "profile", "analytics"))


@accounts.on(SignUp)
async def register(request: SignUp) -> UserRegistered:
    return UserRegistered(email=request.email)


@welcome.on(UserRegistered)
async def greet(user: UserRegistered) -> WelcomeSent:
    return WelcomeSent(email=user.email)


@profile.on(UserRegistered)
async def create(user: UserRegistered) -> ProfileCreated:
    return ProfileCreated(email=user.email, name=user.email.partition("@")[0])


@analytics.on(UserRegistered)
async def tally(user: UserRegistered, count: State[int] = use("count")) -> None:
    count.set((count.get() or 0) + 1)


app = App("registration", services=[accounts, welcome, profile, analytics])
