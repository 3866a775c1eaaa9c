"""Asks for URLs as Python programs do: with requests, through the proxy that HTTP_PROXY names. Prints a line for each answer: the
status and the body, or the error. The token is in TOKEN."""

import os
import sys

import requests

for url in sys.argv[1:]:
    try:
        answer = requests.get(url, headers={"Authorization": "Bearer " + os.environ["TOKEN"]}, timeout=20)
        print(answer.status_code, answer.text.replace("\n", " "))
    except requests.exceptions.RequestException as error:
        print("error", error)
