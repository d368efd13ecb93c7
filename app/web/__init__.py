"""The web server: gunicorn's configuration, its worker, and what each worker loads."""
