"""kubernetes.yaml: the fields of the Kubernetes API, and the Dockerfile's port, folder and user."""

import re

import kubernetes_validate
import pytest
import yaml

from faceproof.server.limits import Limits
from tests.deploy.dockerfile import entry_point, only
from tests.deploy.test_compose import server
from tests.jobs import REPOSITORY

TEXT = (REPOSITORY / "deploy" / "kubernetes.yaml").read_text()


def objects(text=TEXT):
    """Return the objects of the file, by kind."""
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def container():
    """Return the pod of the deployment, and its one container."""
    pod = objects()["Deployment"]["spec"]["template"]["spec"]
    (found,) = pod["containers"]
    return pod, found


def check_all(text):
    """Check each object against the schema of its kind.

    Raises:
        ValidationError: a field is missing, is of another type, or is none of the API's.
    """
    for one in objects(text).values():
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def test_it_has_the_three_objects_and_only_fields_of_the_api():
    assert sorted(objects()) == ["Deployment", "HorizontalPodAutoscaler", "Service"]
    check_all(TEXT)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("readOnlyRootFilesystem", "readonlyRootFilesystem"),
        ("periodSeconds: 2", "periodSeconds: two"),
        ("maxReplicas", "maximumReplicas"),
        ("targetPort", "target"),
        ("averageUtilization", "average"),
        ("claimName", "claim"),
    ],
)
def test_a_field_that_the_api_lacks_is_noticed(right, wrong):
    assert right in TEXT
    with pytest.raises(kubernetes_validate.ValidationError):
        check_all(TEXT.replace(right, wrong))


def test_labels_and_names_find_each_other():
    deployment, service, scaler = (
        objects()[kind] for kind in ("Deployment", "Service", "HorizontalPodAutoscaler")
    )
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    target = scaler["spec"]["scaleTargetRef"]
    assert target == {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"]
    }  # fmt: skip
    assert "replicas" not in deployment["spec"]  # applied again, it would undo the scaler's number


def test_the_service_and_the_probes_reach_the_servers_port():
    _, server = container()
    (port,) = server["ports"]
    assert str(port["containerPort"]) == only("EXPOSE").text
    assert objects()["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"] == {"path": "/health", "port": port["name"]}


def test_the_server_answers_to_the_names_of_the_service():
    _, server = container()
    name = objects()["Service"]["metadata"]["name"]
    allowed = [word for word in server["args"] if not word.startswith("--")]
    assert allowed == [name, f"{name}.default.svc.cluster.local"]
    assert "command" not in server  # the Dockerfile's, to which the arguments are added


def test_it_has_no_rights():
    pod, server = container()
    user, group = only("USER").text.split(":")
    assert pod["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": int(user), "runAsGroup": int(group),
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert server["securityContext"] == {
        "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False


def test_the_detector_is_read_only_where_the_command_reads_it_and_the_rest_is_memory():
    pod, server = container()
    mounts = {one["name"]: one for one in server["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert mounts["detector"]["mountPath"] in entry_point()
    assert mounts["detector"]["readOnly"] is True
    assert volumes["detector"]["persistentVolumeClaim"]["readOnly"] is True
    assert mounts["tmp"]["mountPath"] == "/tmp"
    limits, size = Limits(), volumes["tmp"]["emptyDir"]["sizeLimit"]
    assert int(size.removesuffix("Mi")) >= limits.places * limits.max_megabytes


def test_it_has_the_limits_of_compose():
    limits = container()[1]["resources"]["limits"]
    assert float(limits["cpu"]) == server()["cpus"]
    assert re.sub("Gi$", "g", limits["memory"]) == server()["mem_limit"]
    threads = {one["name"]: one.get("value") for one in container()[1]["env"]}
    assert threads["OMP_NUM_THREADS"] == limits["cpu"]


def test_a_pod_that_ends_has_time_for_what_it_judges():
    pod, server = container()
    waits = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= waits + 5 + 5  # what it judges, and to spare
