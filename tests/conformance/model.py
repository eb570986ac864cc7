"""Compares an answer with botocore's model: a client does not complain about a misspelled element, but misses it."""

import json
import re
from xml.etree import ElementTree


def strangers(response, operation):
    """The names and words in an answer that the model of its operation does not know."""
    shape, body = operation.output_shape, response["body"]
    if response["status_code"] != 200 or not body:
        return []
    # Not the protocol that the model names first, which botocore may not speak.
    if operation.service_model.resolved_protocol in ("json", "rest-json"):
        return list(_json_strangers(shape, json.loads(body), operation.name))
    root = ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", body))
    # The fields around a result; EC2 says `return` if there is none.
    wrapper = f"{operation.name}Result"
    for element in [child for child in root if child.tag in {"requestId", "ResponseMetadata", "return", wrapper}]:
        root.remove(element)
        root.extend(element if element.tag == wrapper else [])
    return list(_xml_strangers(shape, root, operation.name))


def _xml_strangers(shape, element, path):
    if shape is None or shape.type_name == "structure":
        members = {} if shape is None else _by_wire_name(shape)
        for child in element:
            inner = f"{path}.{child.tag}"
            yield from _xml_strangers(members[child.tag], child, inner) if child.tag in members else [inner]
    elif shape.type_name == "list":
        name = shape.member.serialization.get("name", "member")
        for child in element:
            yield from _xml_strangers(shape.member, child, path) if child.tag == name else [f"{path}.{child.tag}"]
    else:
        yield from _unknown_word(shape, element.text, path)


def _json_strangers(shape, value, path):
    if shape is None:
        yield from [path] if value else []
    elif shape.type_name == "structure":
        members = _by_wire_name(shape)
        for name, inner in value.items():
            known = members.get(name)
            yield from _json_strangers(known, inner, f"{path}.{name}") if known else [f"{path}.{name}"]
    elif shape.type_name == "list":
        for inner in value:
            yield from _json_strangers(shape.member, inner, path)
    elif shape.type_name == "map":
        for name, inner in value.items():
            yield from _unknown_word(shape.key, name, path)
            yield from _json_strangers(shape.value, inner, f"{path}.{name}")
    else:
        yield from _unknown_word(shape, value, path)


def _by_wire_name(shape):
    return {member.serialization.get("name", name): member for name, member in shape.members.items()}


def _unknown_word(shape, word, path):
    if getattr(shape, "enum", None) and word not in shape.enum:
        yield f"{path} = {word!r}"
