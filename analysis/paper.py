"""The numbers reported in the paper that this project automates: its tables, for comparison with ours."""

SOURCE = '"Sketch => Label: how CNNs perform sketch classification?", S. Bhattarai, Stanford CS230/231N report'

# Tables 2 and 3, test split of 1,000 drawings in 125 classes; one seed each. Fractions in [0, 1].
RESULTS = {
    "baseline": {"top1": 0.3540, "top5": 0.638, "precision": 0.3579, "recall": 0.3540, "f1": 0.3285},
    "resnet50": {"top1": 0.8220, "top5": 0.946, "precision": 0.8372, "recall": 0.8220, "f1": 0.8200},
    "densenet121": {"top1": 0.7703, "top5": 0.8732, "precision": 0.7732, "recall": 0.7703, "f1": 0.7553},
}
NUM_CLASSES = 125
NUM_TEST = 1000

# Table 1. The baseline had 133 outputs, 8 of them dead.
PARAMETERS = {"baseline": 231_717, "resnet50": 23_843_837, "densenet121": 7_165_629}
NUM_OUTPUTS = {"baseline": 133, "resnet50": 125, "densenet121": 125}
# Keras, which the paper used, gives these networks' convolutions biases beside batch norm; torchvision does not.
HAS_BIASES_IN_CONVOLUTIONS = ("resnet50",)
# Keras counts batch norm's running statistics among the parameters.

REMARKS = (
    "77.03 and 87.32 cannot come from 999 or 1,000 drawings, so the paper's two large networks were not scored on the "
    "same set.",
    "The paper trained each network once.",
    "Its data are 20,000 drawings in 125 classes at 224 px. Results on other data or sizes are not comparable; they "
    "stand beside each other to show the form.",
)
