"""A flow that fails until its address exists, to be resumed."""

import pathlib

from metaflow import FlowSpec, Parameter, step


class DeliveryFlow(FlowSpec):
    address = Parameter("address", help="A file that must exist", required=True)

    @step
    def start(self):
        print("packing")
        self.parcel = "a parcel"
        self.next(self.deliver)

    @step
    def deliver(self):
        if not pathlib.Path(self.address).exists():
            raise ValueError(f"nobody at {self.address}")
        self.next(self.end)

    @step
    def end(self):
        print("delivered", self.parcel)


if __name__ == "__main__":
    DeliveryFlow()
