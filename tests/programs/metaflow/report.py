"""Branches that run side by side, and cards."""

from metaflow import FlowSpec, card, current, step
from metaflow.cards import Markdown, Table


class Base(FlowSpec):
    @property
    def title(self):
        return "Quarterly report"


class ReportFlow(Base):
    @step
    def start(self):
        self.next(self.sales, self.costs)

    @step
    def sales(self):
        self.amount = 120
        self.next(self.join)

    @step
    def costs(self):
        self.amount = -80
        self.next(self.join)

    @card(type="blank")
    @step
    def join(self, inputs):
        self.balance = inputs.sales.amount + inputs.costs.amount
        current.card.append(Markdown(f"# {self.title}"))
        current.card.append(Table([["balance", self.balance]]))
        self.next(self.end)

    @step
    def end(self):
        print("balance", self.balance)


if __name__ == "__main__":
    ReportFlow()
