"""Canonical operator graphs: export, commitment and exchange."""

from tao.graph.canonical import Graph, Node, Operand
from tao.graph.export import export
from tao.graph.maps import IndexMap
from tao.graph.views import View

__all__ = ["Graph", "IndexMap", "Node", "Operand", "View", "export"]
