import argparse, sys
from pathlib import Path
from tests.cluster.client import Client
from tests.cluster.node.registration import Registration
from tests.cluster.state import settings_from_json
p=argparse.ArgumentParser(); p.add_argument("--folder",type=Path);p.add_argument("--server");p.add_argument("--settings",type=settings_from_json)
a=p.parse_args()
Registration(Client(a.server,a.folder/"pki","node"),a.settings,1).run()
