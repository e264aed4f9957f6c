import os

# Before torch is imported: small nets are faster on one thread, and numbers then do not depend on the machine's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
