"""The fleet's models, by subject."""

from .certificates import AcmeChallenge, AcmeOrder, Certificate, CertificateIssuer, RenewalPolicy
from .places import Cell, Diagnostics, Instance, Measurement, Placement
from .probes import Probe
from .simulated import SimulatedEffect, SimulatedInstance

__all__ = [
    "AcmeChallenge",
    "AcmeOrder",
    "Cell",
    "Certificate",
    "CertificateIssuer",
    "Diagnostics",
    "Instance",
    "Measurement",
    "Placement",
    "Probe",
    "RenewalPolicy",
    "SimulatedEffect",
    "SimulatedInstance",
]
