"""CDK app: every stage, or the one named by `-c stage=`."""

import os

from functions.catalogue import CATALOGUE
from infra import node


def main() -> None:
    """Synthesize. Raises when cdk-nag finds what nobody acknowledged."""
    node.put_on_path()
    import cdk_nag
    from aws_cdk import Validations

    from infra import assembly, packaging, stages

    app = assembly.app()
    wanted = app.node.try_get_context("stage")
    layer = packaging.runtime_layer()
    for name in [wanted] if wanted else stages.NAMES:
        assembly.assemble(app, stages.load(str(name), os.environ), CATALOGUE, layer=layer)
    Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks())
    app.synth()


if __name__ == "__main__":
    main()
