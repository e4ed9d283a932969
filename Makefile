# The commands of a working day; `.ci/run` does all of it in a fresh environment.
.PHONY: install check format test real docs site cover

install: # with the pinned versions of CI
	pip install -c constraints.txt -e '.[test,docs,s3,onnx,heic,svg,mlflow,wandb]'

check: # lint, format, spelling, types
	ruff check .
	ruff format --check .
	codespell
	mypy

format:
	ruff check --fix .
	ruff format .

test: # the fast tests, some four minutes on two cores
	python -m pytest

real: # searches, kills, clusters, servers, browsers; what the machine lacks is skipped and named
	python -m pytest -m 'real or slow' -rs

docs: # links, commands, flags and Python snippets of README and docs/
	python -m pytest tests/docs -m ''

site: # the documentation as a site that opens from disk: build/site/index.html
	mkdocs build --strict

cover: # the fast tests with the lines that they do not reach
	python -m pytest --cov
