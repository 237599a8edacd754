"""JavaScript modules put together into one script, for a page that is opened as a file.

A browser does not let a page at file:// import modules. So each module becomes a function that runs once and returns
what the module exports, and an import becomes a look-up of what another module has returned:

    import { at as element } from "./tensor.js";      const { at: element } = modules["tensor.js"];
    export function sum() { ... }                     function sum() { ... }     and in the end   return { sum };

Only these forms are understood: import { names } from "./file.js", and export before function, class and const.
"""

import re

IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (async function|function|class|const) (\w+)", re.MULTILINE)
OTHER = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


def bundle(sources, entry):
    """One script from {file name: text} of all modules; the module `entry` runs last.

    Raises ValueError for a module that is not there, for modules that import each other in a circle, for a name that
    is imported and not exported, and for forms of import and export that this does not understand.

    >>> print(bundle({"a.js": "export const one = 1;", "b.js": 'import { one } from "./a.js";'}, "b.js"))
    "use strict";
    const modules = {};
    modules["a.js"] = (() => {
    const one = 1;
    return { one };
    })();
    modules["b.js"] = (() => {
    const { one } = modules["a.js"];
    return {  };
    })();
    """
    parts = [as_function(name, sources[name]) for name in in_order(sources, entry)]
    return "\n".join(['"use strict";', "const modules = {};", *parts])


def in_order(sources, entry):
    """Names of all modules that `entry` needs, each after those that it imports, `entry` last."""
    exported = {name: {match[1] for match in EXPORT.findall(text)} for name, text in sources.items()}
    order, path = [], []

    def visit(name):
        if name in order:
            return
        if name in path:
            raise ValueError(f"modules import each other in a circle: {' -> '.join([*path, name])}")
        path.append(name)
        for names, other in IMPORT.findall(sources[name]):
            if other not in sources:
                raise ValueError(f"{name} imports {other}, which is not there; there are {', '.join(sources)}")
            unknown = [n for n, _ in listed(names) if n not in exported[other]]
            if unknown:
                raise ValueError(f"{name} imports {', '.join(unknown)} from {other}, which does not export it")
            visit(other)
        order.append(path.pop())

    visit(entry)
    return order


def listed(names):
    """(name, name here) of each between the braces of an import, which may stand on several lines.

    >>> listed("at as element, zeros")
    [('at', 'element'), ('zeros', 'zeros')]
    """
    pairs = [name.split() for name in names.split(",") if name.strip()]
    return [(pair[0], pair[-1]) for pair in pairs]


def lookup(match):
    """An import as a look-up of what the other module has returned."""
    names = ", ".join(name if name == here else f"{name}: {here}" for name, here in listed(match[1]))
    return f'const {{ {names} }} = modules["{match[2]}"];'


def as_function(name, text):
    """A module as a function that is called at once."""
    exports = ", ".join(found for _, found in EXPORT.findall(text))
    text = IMPORT.sub(lookup, text)
    text = EXPORT.sub(r"\1 \2", text)
    other = OTHER.search(text)
    if other:
        raise ValueError(f"{name} has a line that the bundle does not understand: {other[0]}")
    return f'modules["{name}"] = (() => {{\n{text.strip()}\nreturn {{ {exports} }};\n}})();'
