# The seed's shape, for comparison: Flask, who is signed in kept in a signed
# cookie, the header as a template.
import os

from flask import Flask, session

app = Flask(__name__)
app.secret_key = "a secret key for measuring alone"
with open(os.environ["HEADER"], encoding="utf-8") as file:
    header = app.jinja_env.from_string(file.read())


@app.get("/enter/<screen_name>")
def enter(screen_name):
    session["screen_name"] = screen_name
    return ""


@app.get("/header")
def show():
    return header.render(screen_name=session["screen_name"])
