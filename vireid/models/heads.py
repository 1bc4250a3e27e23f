"""Parts after the trunk: BNNeck, classifier, and IDKL's modality discriminator."""

from torch import nn

from vireid.models.idkl_config import ClassifierInit


def bn_neck(features: int) -> nn.BatchNorm1d:
    """BNNeck (Luo et al., CVPRW 2019): batch norm whose bias stays at 0."""
    neck = nn.BatchNorm1d(features)
    neck.bias.requires_grad_(False)
    return neck


def classifier(features: int, classes: int, init: ClassifierInit = "normal") -> nn.Linear:
    """Linear classifier without bias; weights from N(0, 0.001²) as in the field, or PyTorch's ±1/√features."""
    layer = nn.Linear(features, classes, bias=False)
    if init == "normal":
        nn.init.normal_(layer.weight, std=0.001)
    return layer


class Discriminator(nn.Sequential):
    """Modality discriminator of IDKL: D-100-100-2 with batch norm, ReLU and dropout 0.5."""

    def __init__(self, features: int, hidden: int = 100) -> None:
        super().__init__(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, 2),
        )
