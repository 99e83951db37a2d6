"""The runtime side of CNI. `Cni` is a node's network as the kubelet and its runtime use it."""

from netemu.kubelet.cni.configurations import NotReady
from netemu.kubelet.cni.definitions import Definitions
from netemu.kubelet.cni.network import DIRECTORIES, Cni
from netemu.kubelet.cni.ours import Ours
from netemu.kubelet.cni.plugins import PluginFailed

__all__ = ["DIRECTORIES", "Cni", "Definitions", "NotReady", "Ours", "PluginFailed"]
