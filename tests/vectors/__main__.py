"""Write the test vectors anew: ``python -m tests.vectors``, after a change of the protocol that was meant."""

from tests.vectors.generate import FOLDER, as_text, everything

for name, vectors in everything().items():
    (FOLDER / name).write_text(as_text(vectors), "utf-8")
