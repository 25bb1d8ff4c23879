"""Small releases of the training corpora of SRE12, each with its own tables."""

from prep_trees import put, sph

from local import sre12_corpora as corpora

CALLDATA = (
    "CALL_ID,DATE_TIME,TOPICID,SIG_GRADE,CNV_GRADE,APIN,ASX.DL,APHNUM,APHSET,APHTYP,BPIN,BSX.DL,BPHNUM,BPHSET,BPHTYP"
)


def sre0406(root, name):
    """The public list with another year's line, and two recordings, one of them of one channel."""
    lines = [
        f"1001 m sre20{name[-2:]} taaa A",
        f"1002 f sre20{name[-2:]} taaa B",
        f"1002 f sre20{name[-2:]} tbbb x",
        f"1001 m sre20{name[-2:]} tmissing A",
        "1009 m sre1999 taaa A",
    ]
    put(root / "speaker_list", *lines)
    sph(root / "r1/disc1/train/data/taaa.sph")
    sph(root / "r2/test/tbbb.sph", channels=1)


FLAGS = "one,two,three,four,five,six,seven,eight"


def eight(root, name):
    """Models 10001 and 10002 are calls, 10003 is an interview; fddd and feee are a call and an interview by microphone,
    fggg is in no condition, fhhh is a microphone's and missing."""
    keys = root / "LDC2011S08/data/keys/NIST_SRE08_KEYS.v0.1"
    put(
        keys / "model-keys/NIST_SRE08_short2.model.key",
        "model,gender,segment:channel,speaker",
        "10001,m,faaa:a,1001",
        "10002,f,fbbb:b,1008",
        "10003,m,fiii:a,1001",
    )
    put(
        keys / "trial-keys/NIST_SRE08_short2-short3.trial.key",
        f"model,segment,channel,target,{FLAGS}",
        "10001,fccc,b,target,N,N,N,N,N,Y,Y,N",
        "10001,fccc,a,nontarget,N,N,N,N,N,Y,N,N",
        "10001,fddd,a,target,N,N,N,N,Y,N,N,N",
        "10001,fggg,a,target,N,N,N,N,N,N,N,N",
        "10001,fhhh,a,target,N,N,N,N,Y,N,N,N",
        "10002,fbbb,b,target,N,N,N,N,N,Y,N,N",
        "10003,feee,a,target,Y,Y,N,N,N,N,N,N",
        "10003,fccc,b,target,N,N,N,Y,N,N,N,N",
    )
    for segment in ("05/data/faaa", "05/data/fbbb", "05/data/fiii"):
        sph(root / f"LDC2011S{segment}.sph")
    for segment in ("fccc", "fddd", "feee", "fggg"):
        sph(root / f"LDC2011S08/data/test/data/short3/{segment}.sph")


def ten(root, name):
    """The directories say what is a telephone's; of tddd and its model 50004, in a directory of neither, the key."""
    models = ("50001,1001", "50002,NOT_SCORED", "50003,1010", "50004,1010")
    put(root / "keys/coreext.modelkey.csv", "model,sid", *models)
    put(
        root / "train/coreext.trn",
        "50001 m data/phonecall/tel/taaa.sph:A",
        "50002 f data/phonecall/tel/taaa.sph:B",
        "50003 f data/interview/mic/tbbb.sph:B",
        "50004 f data/later/teee.sph:A",
    )
    put(
        root / "keys/coreext-coreext.trialkey.csv",
        "spkr,utt,side,target,is_scored,c1,c2,c3,c4,c5,c6,c7,c8,c9",
        "50001,tccc,a,target,Y,N,N,N,N,Y,N,N,N,N",
        "50003,tccc,a,nontarget,Y,N,N,Y,N,N,N,N,N,N",
        "50002,tccc,b,target,Y,N,N,N,N,Y,N,N,N,N",
        "50004,tddd,b,target,Y,N,N,N,N,N,N,N,N,Y",
        "50003,tfff,b,target,Y,N,N,N,Y,N,N,N,N,N",
    )
    places = ("phonecall/tel/taaa", "interview/mic/tbbb", "phonecall/tel/tccc", "later/tddd", "later/teee")
    for place in (*places, "phonecall/mic/tfff"):
        sph(root / f"data/{place}.sph")


def phase1(root, name):
    put(root / "docs/callstat.tbl", "sw2001.sph,x,301,302,x,M,F,x", "sw2002.sph,x,303,301,x,F,M,x")
    for call in ("sw2001", "sw2002"):
        sph(root / f"disc1/data/{call}.sph")


def phase2(root, name):
    put(root / "DISC1/doc/callstat.tbl", "970101,x,301,302,M,F", "970102,x,303,301,F,M")
    put(root / "DISC1/doc/callinfo.tbl", "sw_10001,A,x", "sw_10001,B,x", "sw_10002,A,x", "sw_10002,B,x")
    for call in ("sw_10001", "sw_10002"):
        sph(root / f"DISC2/data/{call}.sph")


def phase3(root, name):
    put(root / "docs/callstat.tbl", "20001,x,x,301,302,M,F", "20002,x,x,303,301,F,M")
    for call in ("sw_20001", "sw_20002"):
        sph(root / f"data/{call}.sph")


def cellular(root, name):
    bad = ("40019", "45024", "40022")
    calls = ("40001,301,302,M,F,x", "40002,303,301,F,M,x", *(f"{call},303,301,F,M,x" for call in bad))
    put(root / "docs/swb_callstats.tbl", *calls)
    for call in ("40001", "40002", *bad):
        sph(root / f"data/sw_{call}.sph")


def fishers(root, name):
    bad = ("01243", "06716", "00446")
    put(
        root / f"fe_03_p{name[-1]}_tran/doc/fe_03_p{name[-1]}_calldata.tbl",
        CALLDATA,
        "00001,d,t,1,1,2001,m.a,n,1,1,2002,f.a,n,1,1",
        "00002,d,t,1,1,2001,f.o,n,1,1,2002,f.a,n,1,1",
        *(f"{call},d,t,1,1,2001,m.a,n,1,1,2002,f.a,n,1,1" for call in bad),
    )
    for call in ("00001", "00002", *bad):
        sph(root / f"fisher_eng_tr_sp_d1/audio/000/fe_03_{call}.sph")


def mixer(root, name):
    head = "call_id,date_time,topic,signal,sid_a,b,c,d,e,f,g,h,sid_b"
    filler = ["x"] * 7
    put(
        root / "mx6_speech/docs/mx6_calls.csv",
        head,
        ",".join(["8432", "d", "t", "s", "1001", *filler, "1020"]),
        ",".join(["8433", "d", "t", "s", "1020", *filler, ""]),
    )
    put(root / "mx6_speech/docs/mx6_subjs.csv", "subjid,sex,yob", "1001,M,1970", "1020,F,1980")
    for call in ("8432", "8433"):
        sph(root / f"mx6_speech/data/ulaw_sphere/20090714_134807_{call}.sph")


# corpus: (maker of its tree, reader, expected {(file, side): speaker}, missing, left out)
TWO_CALLS = {("a", 0): "301", ("a", 1): "302", ("b", 0): "303", ("b", 1): "301"}
SRE = ({("taaa", 0): "1001", ("taaa", 1): "1002", ("tbbb", 0): "1002"}, 1, {})
FISHER = (
    {
        ("fe_03_00001", 0): "2001m",
        ("fe_03_00001", 1): "2002f",
        ("fe_03_00002", 0): "2001f",
        ("fe_03_00002", 1): "2002f",
    },
    0,
    {"calls known to be bad": 3},
)
BAD_CALL = {"calls known to be bad": 3}


def calls(a, b):
    """What the two calls of every part of Switchboard hold, under the part's file names."""
    return {({"a": a, "b": b}[call], side): speaker for (call, side), speaker in TWO_CALLS.items()}


CORPORA = {
    **{name: (sre0406, corpora.read_listed, *SRE) for name in ("sre04", "sre05", "sre06")},
    "sre08": (
        eight,
        corpora.read_evaluation,
        {("faaa", 0): "1001", ("fbbb", 1): "1008", ("fccc", 1): "1001", ("fggg", 0): "1001"},
        0,
        {},
    ),
    "sre10": (
        ten,
        corpora.read_evaluation,
        {("taaa", 0): "1001", ("tccc", 0): "1001"},
        0,
        {"models without a speaker in the key": 1},
    ),
    "swbd2p1": (phase1, corpora.read_calls, calls("sw2001", "sw2002"), 0, {}),
    "swbd2p2": (phase2, corpora.read_calls, calls("sw_10001", "sw_10002"), 0, {}),
    "swbd2p3": (phase3, corpora.read_calls, calls("sw_20001", "sw_20002"), 0, {}),
    "swbcell1": (cellular, corpora.read_calls, calls("sw_40001", "sw_40002"), 0, BAD_CALL),
    "swbcell2": (cellular, corpora.read_calls, calls("sw_40001", "sw_40002"), 0, BAD_CALL),
    "fisher1": (fishers, corpora.read_calls, *FISHER),
    "fisher2": (fishers, corpora.read_calls, *FISHER),
    "mixer6": (
        mixer,
        corpora.read_mixer6,
        {("20090714_134807_8432", 0): "1001", ("20090714_134807_8432", 1): "1020", ("20090714_134807_8433", 0): "1020"},
        0,
        {"sides without a speaker": 1},
    ),
}
