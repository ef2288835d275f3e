"""A foreach and its join."""

import time

import metaflow as mf


class SquaresFlow(mf.FlowSpec):
    count = mf.Parameter("count", default=4)

    @mf.step
    def start(self):
        self.numbers = list(range(self.count))
        self.next(self.square, foreach="numbers")

    @mf.step
    def square(self):
        self.began = time.time()
        self.result = self.input**2
        time.sleep(0.3)
        self.ended = time.time()
        self.next(self.join)

    @mf.step
    def join(self, inputs):
        self.results = [i.result for i in inputs]
        self.most_at_once = max(sum(i.began <= j.began < i.ended for i in inputs) for j in inputs)
        self.next(self.end)

    @mf.step
    def end(self):
        print("sum", sum(self.results))


if __name__ == "__main__":
    SquaresFlow()
