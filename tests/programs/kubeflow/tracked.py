from kfp.dsl import component, pipeline


@component
def fit(experiment: str, alphas: list) -> str:
    import mlflow
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import Ridge

    mlflow.set_experiment(experiment)
    features, target = load_diabetes(return_X_y=True)
    with mlflow.start_run() as run:
        for step, alpha in enumerate(alphas):
            mlflow.log_metric("r2", Ridge(alpha=alpha).fit(features, target).score(features, target), step=step)
        mlflow.log_param("alphas", len(alphas))
    return run.info.run_id


@pipeline
def tracked(experiment: str, alphas: list = [0.1, 1.0]) -> str:
    return fit(experiment=experiment, alphas=alphas).output
