"""A stand-in for the parts of AWS that `sam deploy`, `sam package` and `sam publish` call: CloudFormation's change sets and stacks, S3's objects,
the caller's identity, and the Serverless Application Repository. It keeps what it was sent, so that a test can look at it.

What counts is what CloudFormation makes of a parameter: a value that is sent is taken, `UsePreviousValue` keeps what the stack has, and a parameter
that is not sent gets the template's default.
https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Parameter.html
"""

import datetime
import http.server
import json
import re
import threading
import urllib.parse
from xml.sax.saxutils import escape

from samcli.yamlhelper import yaml_parse

BUCKET = "aws-sam-cli-managed-default-samclisourcebucket-stand-in"
# The stack in which SAM keeps its bucket, as SAM checks it: it is there already.
MANAGED = "aws-sam-cli-managed-default"

# https://docs.aws.amazon.com/goto/WebAPI/serverlessrepo-2017-09-08/CreateApplication, as botocore's model has it.
PUBLISHED = {
    "author": re.compile(r"^[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?$"),
    "description": re.compile(r"^.{1,256}$", re.S),
    "name": re.compile(r"^[a-zA-Z0-9\-]{1,140}$"),
    "semanticVersion": re.compile(r"^\d+\.\d+\.\d+$"),
    "spdxLicenseId": re.compile(r"^Apache-2\.0$"),
}
LABEL = re.compile(r"^[a-zA-Z0-9+\-_:/@]{1,127}$")


class Refusal(Exception):
    """An error in the form of the service."""


class Aws:
    """What is there, and what was sent."""

    def __init__(self):
        self.objects = {}
        self.stacks = {}
        self.change_sets = {}
        self.published = []

    def template(self, form):
        """The template of a change set: sent along, or put into the bucket before."""
        if "TemplateBody" in form:
            return form["TemplateBody"]
        key = urllib.parse.urlparse(form["TemplateURL"]).path.split(f"/{BUCKET}/")[-1].lstrip("/")
        return self.objects[key].decode()

    def create_change_set(self, form):
        name = form["StackName"]
        declared = yaml_parse(self.template(form))["Parameters"]
        if len(self.template(form)) > 1_000_000:
            raise Refusal("Template may not exceed 1000000 bytes in size.")
        stack = self.stacks.get(name)
        if (form["ChangeSetType"] == "UPDATE") != (stack is not None):
            raise Refusal(f"the change set's type {form['ChangeSetType']} is wrong")
        sent = {}
        for number in range(1, 1000):
            key = form.get(f"Parameters.member.{number}.ParameterKey")
            if key is None:
                break
            if key not in declared:
                raise Refusal(f"Parameters: [{key}] do not exist in the template")
            previous = form.get(f"Parameters.member.{number}.UsePreviousValue") == "true"
            if previous and (stack is None or key not in stack["parameters"]):
                raise Refusal(f"Invalid input for parameter key {key}. Cannot specify usePreviousValue as true")
            sent[key] = stack["parameters"][key] if previous else form[f"Parameters.member.{number}.ParameterValue"]
        values = {key: str(sent.get(key, of.get("Default"))) for key, of in declared.items()}
        for key, value in values.items():
            allowed = [str(one) for one in declared[key].get("AllowedValues", [])]
            if allowed and value not in allowed:
                raise Refusal(f"Parameter '{key}' must be one of AllowedValues")
        tags = {}
        for number in range(1, 100):
            if (key := form.get(f"Tags.member.{number}.Key")) is not None:
                tags[key] = form[f"Tags.member.{number}.Value"]
        capabilities = [value for key, value in form.items() if key.startswith("Capabilities.member.")]
        made = {"parameters": values, "tags": tags, "capabilities": capabilities, "template": self.template(form)}
        self.change_sets[form["ChangeSetName"]] = (name, made)
        arn = f"arn:aws:cloudformation:eu-west-1:123456789012:changeSet/{form['ChangeSetName']}/1"
        return f"<Id>{arn}</Id><StackId>{arn_of(name)}</StackId>"

    def answer(self, action, form):
        """The XML of an action of CloudFormation or STS."""
        match action:
            case "GetCallerIdentity":
                return "<Arn>arn:aws:iam::123456789012:user/x</Arn><UserId>x</UserId><Account>123456789012</Account>"
            case "DescribeStacks":
                return f"<Stacks>{self.described(form['StackName'])}</Stacks>"
            case "GetTemplateSummary":
                keys = self.stacks[name_of(form["StackName"])]["parameters"]
                members = "".join(f"<member><ParameterKey>{key}</ParameterKey></member>" for key in keys)
                return f"<Parameters>{members}</Parameters>"
            case "CreateChangeSet":
                return self.create_change_set(form)
            case "DescribeChangeSet":
                name, _ = self.change_sets[id_of(form["ChangeSetName"])]
                change = "<Action>Add</Action><LogicalResourceId>Queue</LogicalResourceId><ResourceType>AWS::SQS::Queue</ResourceType>"
                change = f"<member><Type>Resource</Type><ResourceChange>{change}</ResourceChange></member>"
                status = "<Status>CREATE_COMPLETE</Status><ExecutionStatus>AVAILABLE</ExecutionStatus>"
                return f"<StackName>{name}</StackName>{status}<Changes>{change}</Changes>"
            case "ExecuteChangeSet":
                name, made = self.change_sets[id_of(form["ChangeSetName"])]
                made["status"] = "UPDATE_COMPLETE" if name in self.stacks else "CREATE_COMPLETE"
                self.stacks[name] = made
                return ""
            case "DescribeStackEvents":
                name, now = name_of(form["StackName"]), datetime.datetime.now(datetime.UTC).isoformat()
                # A stack of which only a change set is there.
                status = self.stacks[name]["status"] if name in self.stacks else "REVIEW_IN_PROGRESS"
                event = f"<EventId>{now}</EventId><StackId>{arn_of(name)}</StackId><StackName>{name}</StackName>"
                event += f"<PhysicalResourceId>{arn_of(name)}</PhysicalResourceId><LogicalResourceId>{name}</LogicalResourceId><ResourceType>AWS::CloudFormation::Stack</ResourceType>"
                event += f"<Timestamp>{now}</Timestamp><ResourceStatus>{status}</ResourceStatus>"
                return f"<StackEvents><member>{event}</member></StackEvents>"
            case "ListStackResources":
                return "<StackResourceSummaries></StackResourceSummaries>"
            case _:
                raise Refusal(f"the stand-in does not know {action}")

    def described(self, asked):
        name = name_of(asked)
        if name == MANAGED:
            tag = "<member><Key>ManagedStackSource</Key><Value>AwsSamCli</Value></member>"
            output = f"<member><OutputKey>SourceBucket</OutputKey><OutputValue>{BUCKET}</OutputValue></member>"
            more, status = f"<Tags>{tag}</Tags><Outputs>{output}</Outputs>", "CREATE_COMPLETE"
        elif name in self.stacks:
            more, status = "", self.stacks[name]["status"]
        else:
            raise Refusal(f"Stack with id {asked} does not exist")
        fields = f"<StackName>{name}</StackName><StackId>{arn_of(name)}</StackId><CreationTime>2026-01-05T08:00:00Z</CreationTime>"
        return f"<member>{fields}<StackStatus>{status}</StackStatus>{more}</member>"

    def publish(self, application):
        """Takes an application as the Serverless Application Repository does."""
        for field, pattern in PUBLISHED.items():
            if not pattern.match(application.get(field, "")):
                raise Refusal(f"{field} is {application.get(field)!r}, and has to match {pattern.pattern}")
        labels = application.get("labels", [])
        if len(labels) > 10 or not all(LABEL.match(label) for label in labels):
            raise Refusal(f"the labels are {labels}")
        for field in ("licenseUrl", "readmeUrl"):
            # SAM turns the address of the object into one of the web.
            if BUCKET not in application.get(field, ""):
                raise Refusal(f"{field} is {application.get(field)!r}, and has to be an object in S3")
        self.published.append(application)
        return {"applicationId": f"arn:aws:serverlessrepo:eu-west-1:123456789012:applications/{application['name']}"}


def arn_of(stack):
    return f"arn:aws:cloudformation:eu-west-1:123456789012:stack/{stack}/1"


def name_of(stack):
    return stack.split("/")[1] if stack.startswith("arn:") else stack


def id_of(change_set):
    return change_set.split("/")[1] if change_set.startswith("arn:") else change_set


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", kind="text/xml", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            body = b"".join(parts)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" in (self.headers.get("Content-Encoding") or ""):
            parts, rest = [], body
            while True:
                head, _, rest = rest.partition(b"\r\n")
                if not (size := int(head.split(b";")[0], 16)):
                    return b"".join(parts)
                parts.append(rest[:size])
                rest = rest[size + 2 :]
        return body

    def key(self):
        return urllib.parse.unquote(urllib.parse.urlparse(self.path).path).removeprefix(f"/{BUCKET}").lstrip("/")

    def do_PUT(self):
        self.server.aws.objects[self.key()] = self.body()
        self.reply(200, headers=[("ETag", '"1"')])

    def do_HEAD(self):
        self.reply(200 if self.key() in self.server.aws.objects or not self.key() else 404)

    def do_GET(self):
        if "location" in urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query, keep_blank_values=True):
            self.reply(200, b"<LocationConstraint>eu-west-1</LocationConstraint>")
        elif self.key() in self.server.aws.objects:
            self.reply(200, self.server.aws.objects[self.key()])
        else:
            self.reply(404)

    def do_POST(self):
        body = self.body()
        try:
            if self.path.startswith("/applications"):
                self.reply(201, json.dumps(self.server.aws.publish(json.loads(body))).encode(), "application/json")
                return
            form = dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))
            action = form["Action"]
            answer = self.server.aws.answer(action, form)
            answer = f"<{action}Response><{action}Result>{answer}</{action}Result></{action}Response>"
            self.reply(200, answer.encode())
        except Refusal as refusal:
            if self.path.startswith("/applications"):
                error = json.dumps({"errorCode": "BadRequestException", "message": str(refusal)}).encode()
                self.reply(400, error, "application/json", [("X-Amzn-Errortype", "BadRequestException")])
                return
            error = f"<Type>Sender</Type><Code>ValidationError</Code><Message>{escape(str(refusal))}</Message>"
            self.reply(400, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode())


class StandIn:
    """The stand-in on a port of its own, for a `with`."""

    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.aws = self.aws = Aws()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
