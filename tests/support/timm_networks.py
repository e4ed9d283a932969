"""Small networks of timm, of as many families, for tests."""

SMALL = 64  # px: a multiple of every patch below
# Of these only the last features are a point between layers that can be found.
UNTRACED = ("timm:test_vit",)
UNCUT = (*UNTRACED, "timm:xcit_nano_12_p16_224")  # the blocks of the latter hand on more than one value
TIMM = (
    "timm:efficientnet_lite0",
    "timm:mobilenetv3_small_050",  # layers between its pooling and its classifier
    "timm:resnet10t",
    "timm:convnext_atto",
    "timm:vit_tiny_patch16_224",  # tokens, a class token, one size
    "timm:regnetx_002",
    "timm:ghostnet_050",
    "timm:edgenext_xx_small",
    "timm:levit_128s",  # two classifiers, with batch norm
    "timm:mambaout_femto",  # channels last
    "timm:xcit_nano_12_p16_224",  # a class token that comes late
    "timm:poolformer_s12",  # without timm's layer groups
    *UNTRACED,
)
