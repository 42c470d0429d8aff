"""Systems that CoNRec is set beside and that take training of their own: SASRec, and a finished run reversed."""


def fit(job, origin):
    raise NotImplementedError
