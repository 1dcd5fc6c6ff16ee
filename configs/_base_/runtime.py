"""What every experiment here has: metrics, and the hooks that place, evaluate, save and record."""

config = dict(
    metrics=dict(top1=dict(type="Accuracy")),
    hooks=dict(
        device_placement=dict(type="DevicePlacement", device="auto"),
        evaluation=dict(type="Evaluation", every="1ep"),
        checkpoint=dict(type="Checkpoint", every="1ep", keep=2),
        tensorboard=dict(type="TensorBoard", every=20),
        json_log=dict(type="JSONLog", every=20),
        progress_bar=dict(type="ProgressBar"),
    ),
    seed=0,
)
