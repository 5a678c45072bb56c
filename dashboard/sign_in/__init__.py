"""Sign-in: password, second factors, OpenID Connect, sessions; built on django-allauth."""
