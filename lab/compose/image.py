"""The images of a Compose file's containers: a platform with systemd, and Salt in /opt/salt.

They are the lab's images (lab/machines/image.py), but packages come from Debian and PyPI
themselves. There is one for each platform in the topology: one Dockerfile builds them, with the
platform's own image as BASE.
"""

from pathlib import Path

from lab.machines.image import FILES, MASKED, PACKAGES, SALT_UNIT
from lab.paths import LOCKS
from salina.common import locks
from salina_fleet.platforms import Platform

START = Path(__file__).parent / "start"
LOCK = LOCKS / "minion.txt"
SERVICES = ("minion", "master")
BUILD = ("gcc", "python3-dev", "python3-venv")
OWN = (
    "etc/default/locale",
    "etc/systemd/journald.conf.d/lab.conf",
    "etc/systemd/system/chrony.service.d/lab.conf",
)
"""The lab's files that a container of Docker needs as well."""

DOCKERFILE = """\
ARG BASE
FROM ${{BASE}} AS salt
RUN apt-get update && apt-get install --yes --no-install-recommends {build}
COPY minion.txt minion.build.txt /locks/
RUN python3 -m venv --system-site-packages /opt/salt \\
 && python3 -m venv /tools \\
 && /tools/bin/pip install {verified} --requirement /locks/minion.build.txt \\
 && /tools/bin/pip wheel {verified} {built} --wheel-dir /wheels --requirement /locks/minion.txt \\
 && /opt/salt/bin/pip install --no-index --no-deps --ignore-installed --no-compile /wheels/*.whl

FROM ${{BASE}}
# git is for the master, which looks up the commits of the applications.
RUN rm -f /usr/sbin/policy-rc.d \\
 && apt-get update \\
 && apt-get install --yes --no-install-recommends git {packages} \\
 && apt-get clean
COPY --from=salt /opt/salt /opt/salt
COPY root/ /
COPY start /usr/local/sbin/salina-start
RUN ln -s /opt/salt/bin/salt* /usr/local/bin/ \\
 && chmod 0755 /usr/local/sbin/salina-start \\
 && systemctl mask {masked} \\
 && systemctl set-default multi-user.target \\
 && rm -f /etc/machine-id
ENV LANG=C.UTF-8
CMD ["/usr/local/sbin/salina-start"]
"""


def base(platform: Platform) -> str:
    """Return the image of Docker that a platform's image begins with."""
    return f"{platform.name.partition('-')[0]}:{platform.codename}"


def files() -> dict[str, str]:
    """Return the image's files: their paths in its directory, and their content."""
    units = {
        f"root/etc/systemd/system/salt-{name}.service": SALT_UNIT.format(name=name)
        for name in SERVICES
    }
    dockerfile = DOCKERFILE.format(
        build=" ".join(BUILD),
        verified=" ".join(locks.VERIFIED),
        built=" ".join(locks.BUILT),
        packages=" ".join(PACKAGES),
        masked=" ".join(MASKED),
    )
    tools = Path(locks.tools(str(LOCK)))
    return {
        "Dockerfile": dockerfile,
        "start": START.read_text(),
        LOCK.name: LOCK.read_text(),
        tools.name: tools.read_text(),
        **units,
        **{f"root/{path}": FILES[path] for path in OWN},
    }
