"""Sign in with Twitter in Python, against the sandbox:  python3 python.py requests-oauthlib|tweepy|authlib|flask-dance|django-allauth

Each function is a quick start of its own: the library as it comes, but for the base URL. At X, take TWITTER_API_URL=https://api.x.com and
send a person's browser where `browse` goes; the sandbox, started with --auto-approve, lets that person in without a browser.
"""

import json
import os
import sys
from urllib.parse import parse_qs, urlsplit

import requests

TWITTER = os.environ.get("TWITTER_API_URL", "http://127.0.0.1:8081")
KEY = os.environ["TWITTER_CONSUMER_KEY"]
SECRET = os.environ["TWITTER_CONSUMER_SECRET"]
CALLBACK = os.environ["CALLBACK_URL"]  # the one that is registered, and no other
SITE = "{0.scheme}://{0.netloc}".format(urlsplit(CALLBACK))


def browse(url):
    """What the person's browser does: follow the link to Twitter, and come back to the callback."""
    back = requests.get(url, allow_redirects=False)
    if "Location" not in back.headers:
        sys.exit(back.text)
    return back.headers["Location"]


def verifier(url):
    return parse_qs(urlsplit(url).query)["oauth_verifier"][0]


def requests_oauthlib():
    from requests_oauthlib import OAuth1Session

    twitter = OAuth1Session(KEY, client_secret=SECRET, callback_uri=CALLBACK)
    twitter.fetch_request_token(TWITTER + "/oauth/request_token")
    link = twitter.authorization_url(TWITTER + "/oauth/authenticate")
    twitter.parse_authorization_response(browse(link))
    token = twitter.fetch_access_token(TWITTER + "/oauth/access_token")

    me = twitter.get(TWITTER + "/1.1/account/verify_credentials.json", params={"skip_status": "true"})
    if not me.ok:
        sys.exit(me.text)
    assert me.json()["id_str"] == token["user_id"]
    return token["screen_name"], token["user_id"]


def authlib():
    from authlib.integrations.requests_client import OAuth1Session

    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # Authlib's own switch for http, for tests only
    twitter = OAuth1Session(KEY, SECRET, redirect_uri=CALLBACK)
    twitter.fetch_request_token(TWITTER + "/oauth/request_token")
    link = twitter.create_authorization_url(TWITTER + "/oauth/authenticate")
    twitter.parse_authorization_response(browse(link))
    token = twitter.fetch_access_token(TWITTER + "/oauth/access_token")

    me = twitter.get(TWITTER + "/2/users/me", params={"user.fields": "profile_image_url,name"})
    if not me.ok:
        sys.exit(me.text)
    assert me.json()["data"]["id"] == token["user_id"]
    return token["screen_name"], token["user_id"]


def tweepy():
    import tweepy

    # Tweepy takes another host, but always says https. Two small subclasses say otherwise.
    class Handler(tweepy.OAuth1UserHandler):
        def _get_oauth_url(self, endpoint):
            return TWITTER + "/oauth/" + endpoint

    class Session(requests.Session):
        def request(self, method, url, **more):
            return super().request(method, url.replace("https://", "http://", 1), **more)

    auth = Handler(KEY, SECRET, callback=CALLBACK)
    link = auth.get_authorization_url(signin_with_twitter=True)
    auth.get_access_token(verifier(browse(link)))

    api = tweepy.API(auth, host=urlsplit(TWITTER).netloc)
    api.session = Session()
    me = api.verify_credentials()
    return me.screen_name, me.id_str


def flask_dance():
    import flask
    from flask_dance.consumer import OAuth1Session, oauth_error
    from flask_dance.contrib.twitter import make_twitter_blueprint, twitter

    # Flask-Dance forgets the request token's secret, and signs access_token without it. X lets that pass; RFC 5849 and the sandbox do not.
    class Session(OAuth1Session):
        def fetch_request_token(self, *args, **more):
            token = super().fetch_request_token(*args, **more)
            flask.session["request_secret"] = token["oauth_token_secret"]
            return token

        def fetch_access_token(self, *args, **more):
            self.auth.client.resource_owner_secret = flask.session.pop("request_secret")
            return super().fetch_access_token(*args, **more)

    app = flask.Flask("app")
    app.secret_key = "only for this test"
    blueprint = make_twitter_blueprint(KEY, SECRET, redirect_to="me", session_class=Session)
    blueprint.request_token_url = TWITTER + "/oauth/request_token"
    blueprint.authorization_url = TWITTER + "/oauth/authenticate"
    blueprint.access_token_url = TWITTER + "/oauth/access_token"
    blueprint.base_url = TWITTER + "/1.1/"
    app.register_blueprint(blueprint, url_prefix="/login")

    @app.route("/me")
    def me():
        return twitter.get("account/verify_credentials.json").json()

    @oauth_error.connect_via(blueprint)
    def failed(blueprint, message, response):
        sys.exit(message)

    # A browser, who goes round once.
    browser = app.test_client()
    start = browser.get("/login/twitter", base_url=SITE)
    browser.get(browse(start.location), base_url=SITE)
    answer = browser.get("/me", base_url=SITE).json
    if "errors" in answer:
        sys.exit(json.dumps(answer))
    return answer["screen_name"], answer["id_str"]


def django_allauth():
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="only for this test",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="allauth.urls",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[
            "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages", "django.contrib.sites",
            "allauth", "allauth.account", "allauth.socialaccount", "allauth.socialaccount.providers.twitter",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[{
            "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request", "django.contrib.messages.context_processors.messages"]},
        }],
        AUTHENTICATION_BACKENDS=["allauth.account.auth_backends.AuthenticationBackend"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        SITE_ID=1,
        SOCIALACCOUNT_PROVIDERS={"twitter": {"APP": {"client_id": KEY, "secret": SECRET}}},
        SOCIALACCOUNT_LOGIN_ON_GET=True,
        LOGIN_REDIRECT_URL="/",
    )
    django.setup()

    from allauth.socialaccount.providers.twitter.provider import TwitterProvider
    from allauth.socialaccount.providers.twitter.views import TwitterAPI, TwitterOAuthAdapter

    TwitterOAuthAdapter.request_token_url = TWITTER + "/oauth/request_token"
    TwitterProvider.get_auth_url = lambda self, request, action: TWITTER + "/oauth/authenticate"
    TwitterOAuthAdapter.access_token_url = TWITTER + "/oauth/access_token"
    TwitterAPI.url = TWITTER + "/1.1/account/verify_credentials.json"

    # A browser, who goes round once.
    from allauth.socialaccount.models import SocialAccount
    from django.core.management import call_command
    from django.test import Client
    from django.test.utils import setup_test_environment

    setup_test_environment()
    call_command("migrate", verbosity=0)
    browser = Client(HTTP_HOST=urlsplit(SITE).netloc)
    start = browser.get("/twitter/login/")
    if start.status_code == 302:
        start = browser.get(browse(start["Location"]))
    for account in SocialAccount.objects.all():
        return account.extra_data["screen_name"], account.uid
    told = start.context["auth_error"]
    sys.exit("allauth: %s" % (told["exception"] or told["code"]))  # of what Twitter said it tells nothing


if __name__ == "__main__":
    name, number = globals()[sys.argv[1].replace("-", "_")]()
    print("@%s %s" % (name, number))
