"""A linear flow with parameters and an included file."""

from metaflow import FlowSpec, IncludeFile, JSONType, Parameter, step


class GreetingFlow(FlowSpec):
    who = Parameter("who", help="Who is greeted", default="world")
    times = Parameter("times", default=1)
    options = Parameter("options", type=JSONType, default='{"mark": "!"}')
    names = IncludeFile("names", help="More names, one a line", required=False)

    @step
    def start(self):
        self.greetings = [f"Hello {self.who}{self.options['mark']}"] * self.times
        self.next(self.more)

    @step
    def more(self):
        if self.names:
            self.greetings += [f"Hello {name}" for name in self.names.splitlines()]
        self.next(self.end)

    @step
    def end(self):
        for greeting in self.greetings:
            print(greeting)


if __name__ == "__main__":
    GreetingFlow()
