"""Reads a run with pandas: which choices did well, what ASHA saved, and which classes are confused.

python examples/read_results.py runs/first
"""

import sys

import pandas as pd

from tune_sketch import open_run


def main(path):
    run = open_run(path)  # of a search that has ended or still runs

    trials = run.trials
    print("the five best trials")
    print(trials.nlargest(5, "best_val_top1")[["trial", "best_val_top1", "config/optimizer", "config/learning_rate"]])

    print("\nmean of the best validation top-1, by optimizer")
    print(trials.groupby("config/optimizer")["best_val_top1"].agg(["count", "mean"]).round(3))

    planned = trials["config/epochs"].sum()
    print(f"\nepochs trained: {len(run.epochs)} of {planned} that all trials would have had to the end")

    if not run.finalists.empty:
        print("\nfinalists")
        print(run.finalists[["trial", "num_seeds", "val_top1_mean", "test_top1_mean"]])

    predictions = run.path / "predictions.csv"  # of the network in best/, once the test split has been read
    if predictions.is_file():
        table = pd.read_csv(predictions)
        wrong = table[table["true_class"] != table["class_1"]]
        print("\nmost confused on the test drawings")
        print(wrong.groupby(["true_class", "class_1"]).size().nlargest(5))


if __name__ == "__main__":
    main(sys.argv[1])
