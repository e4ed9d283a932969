"""Optuna's TPE with its HyperbandPruner, both with their defaults."""

import optuna
from protocol import Params, Searcher, Task, serve


class OptunaHyperband(Searcher):
    every_epoch = True

    def __init__(self, task: Task) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.task = task
        self.study = optuna.create_study(
            study_name=f"search {task.seed}",  # the pruner draws a trial's bracket from it
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=task.seed),
            pruner=optuna.pruners.HyperbandPruner(min_resource=task.first_epochs, max_resource=task.max_epochs),
        )
        for params in task.first:
            self.study.enqueue_trial(params)

    def ask(self) -> tuple[optuna.Trial, Params, int]:
        trial = self.study.ask()
        for name, parameter in self.task.space.items():
            if parameter["kind"] == "choice":
                trial.suggest_categorical(name, tuple(range(parameter["num_choices"])))
            elif parameter["kind"] == "int":
                trial.suggest_int(name, parameter["low"], parameter["high"], log=parameter["log"])
            else:
                trial.suggest_float(name, parameter["low"], parameter["high"], log=parameter["log"])
        return trial, trial.params, self.task.max_epochs

    def report(self, job: optuna.Trial, epoch: int, value: float) -> bool:
        job.report(value, epoch)
        if epoch == self.task.max_epochs:
            self.study.tell(job, value)
            return False
        if job.should_prune():
            self.study.tell(job, state=optuna.trial.TrialState.PRUNED)
            return False
        return True


if __name__ == "__main__":
    serve(OptunaHyperband)
